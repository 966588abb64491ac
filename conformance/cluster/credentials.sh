# Certificates and kubeconfigs, made by kubeadm; sourced by `cluster`.

# credentials ENDPOINT NODES
credentials() {
  local config="$run_dir/kubeadm.yaml" i
  kubeadm_config "$1" >"$config"
  {
    kubeadm init phase certs all --config "$config"
    for i in super-admin controller-manager scheduler; do
      kubeadm init phase kubeconfig "$i" --config "$config" --kubeconfig-dir "$run_dir"
    done
    mv "$run_dir/super-admin.conf" "$run_dir/admin.conf"
    for ((i = 1; i <= $2; i++)); do
      mkdir -p "$run_dir/node$i"
      kubeadm init phase kubeconfig kubelet --config "$config" --node-name "node$i" --kubeconfig-dir "$run_dir/node$i"
    done
    kubeadm kubeconfig user --client-name system:kube-proxy --config "$config" >"$run_dir/kube-proxy.conf"
  } >"$run_dir/kubeadm.log" 2>&1
}

kubeadm_config() {
  cat <<YAML
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v$kubernetes
controlPlaneEndpoint: $1
certificatesDir: $run_dir/pki
apiServer: {certSANs: [127.0.0.1]}
networking: {podSubnet: $pods.0.0/16, serviceSubnet: $services}
etcd: {external: {endpoints: ["http://127.0.0.1:2379"]}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: $lan.1, bindPort: 6443}
nodeRegistration: {name: lan, criSocket: unix:///run/containerd/containerd.sock}
YAML
}
