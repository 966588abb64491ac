package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// runLoadBalancer gives each Service of type LoadBalancer an address of a pool for as long as it runs. Writing
// status.loadBalancer is all it takes: kube-proxy then answers for the address on every node, and the cluster's network
// has a route for the pool.
func runLoadBalancer(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: lb KUBECONFIG POOL, the pool being a CIDR")
	}
	pool, err := netip.ParsePrefix(args[1])
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[0])
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}

	ctx := context.Background()
	services := informers.NewSharedInformerFactory(client, 0).Core().V1().Services()
	changed := onChange(services.Informer())
	go services.Informer().RunWithContext(ctx)
	cache.WaitForCacheSync(ctx.Done(), services.Informer().HasSynced)
	written := map[types.UID]netip.Addr{}
	for range changed {
		all, err := services.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		for _, service := range assign(pool, all, written) {
			_, err := client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, meta.UpdateOptions{})
			if err == nil {
				written[service.UID] = address(service)
			}
			klog.InfoS("assigned", "service", klog.KObj(service), "ingress", service.Status.LoadBalancer.Ingress, "err", err)
		}
	}
	return nil
}

// onChange returns a channel that holds at most one token: something has changed since it was taken.
func onChange(informer cache.SharedIndexInformer) <-chan struct{} {
	changed := make(chan struct{}, 1)
	poke := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { poke() },
		UpdateFunc: func(any, any) { poke() },
		DeleteFunc: func(any) { poke() },
	})
	return changed
}

// assign returns changed copies of the services that have another address than they can have, the oldest first. What was
// written counts until the list, which is always a little out of date, says the same.
func assign(pool netip.Prefix, all []*core.Service, written map[types.UID]netip.Addr) []*core.Service {
	used := map[netip.Addr]bool{}
	var waiting, assigned []*core.Service
	catchUp(all, written)
	for _, service := range all {
		if service.Spec.Type != core.ServiceTypeLoadBalancer || service.Spec.LoadBalancerClass != nil {
			continue
		}
		has, wants := address(service), service.Spec.LoadBalancerIP
		if newer, ok := written[service.UID]; ok {
			has = newer
		}
		if has.IsValid() && (wants == "" || wants == has.String()) {
			used[has] = true
		} else {
			waiting = append(waiting, service)
		}
	}
	slices.SortFunc(waiting, func(a, b *core.Service) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	for _, service := range waiting {
		var ingress []core.LoadBalancerIngress
		if chosen, ok := choose(pool, used, service.Spec.LoadBalancerIP); ok {
			used[chosen] = true
			ingress = []core.LoadBalancerIngress{{IP: chosen.String()}}
		}
		if len(ingress) == 0 && len(service.Status.LoadBalancer.Ingress) == 0 {
			continue
		}
		service = service.DeepCopy()
		service.Status.LoadBalancer.Ingress = ingress
		assigned = append(assigned, service)
	}
	return assigned
}

// catchUp forgets what the list says as well, and services that are gone.
func catchUp(all []*core.Service, written map[types.UID]netip.Addr) {
	listed := map[types.UID]netip.Addr{}
	for _, service := range all {
		listed[service.UID] = address(service)
	}
	maps.DeleteFunc(written, func(id types.UID, has netip.Addr) bool {
		now, stands := listed[id]
		return !stands || now == has
	})
}

// address is what a service has now.
func address(service *core.Service) netip.Addr {
	var has netip.Addr
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		has, _ = netip.ParseAddr(ingress.IP)
	}
	return has
}

// choose returns the address that was asked for, or the lowest free one after the pool's own. Whoever asks for an
// address outside of the pool, or for another's, waits.
func choose(pool netip.Prefix, used map[netip.Addr]bool, wanted string) (netip.Addr, bool) {
	if wanted != "" {
		address, err := netip.ParseAddr(wanted)
		return address, err == nil && pool.Contains(address) && !used[address]
	}
	address := pool.Addr().Next()
	for used[address] {
		address = address.Next()
	}
	return address, pool.Contains(address)
}
