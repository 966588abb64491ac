package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// serve answers on all ports until one of them fails.
func serve(args []string) error {
	flags := flag.NewFlagSet("server", flag.ExitOnError)
	var ports, tls, grpcs, tcps list
	flags.Var(&ports, "port", "port for HTTP/1.1 and HTTP/2, may be repeated")
	flags.Var(&tls, "tls", "which of them want TLS")
	flags.Var(&grpcs, "grpc", "port for gRPC")
	flags.Var(&tcps, "tcp", "port where the pod's name is said, and then what was sent")
	certificate := flags.String("crt", "", "PEM file of the certificate")
	key := flags.String("key", "", "PEM file of its key")
	flags.Parse(args)

	failed := make(chan error)
	listen := func(port string, serve func(net.Listener) error) {
		listener, err := net.Listen("tcp", ":"+port)
		if err == nil {
			err = serve(listener)
		}
		failed <- fmt.Errorf("port %s: %w", port, err)
	}
	for _, port := range ports {
		server := httpServer()
		if slices.Contains(tls, port) {
			go listen(port, func(l net.Listener) error { return server.ServeTLS(l, *certificate, *key) })
		} else {
			go listen(port, server.Serve)
		}
	}
	for _, port := range grpcs {
		go listen(port, grpcServer().Serve)
	}
	for _, port := range tcps {
		go listen(port, serveTCP)
	}
	return <-failed
}

// what was asked, and by whom.
type question struct {
	host, url, method, proto, from string
	headers                        map[string][]string
}

// text is the answer: what was asked, and who says so.
func (q question) text() string {
	hostname, _ := os.Hostname()
	ip, _, _ := net.SplitHostPort(q.from)
	lines := []string{"Host=" + q.host, "URL=" + q.url, "Method=" + q.method, "Proto=" + q.proto, "IP=" + ip}
	for name, values := range q.headers {
		for _, value := range values {
			lines = append(lines, "RequestHeader="+name+":"+value)
		}
	}
	slices.Sort(lines[5:])
	return strings.Join(append(lines, "Hostname="+hostname), "\n") + "\n"
}

func httpServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	answer := func(w http.ResponseWriter, r *http.Request) {
		q := question{r.Host, r.RequestURI, r.Method, r.Proto, r.RemoteAddr, r.Header}
		io.WriteString(w, q.text())
	}
	return &http.Server{Handler: http.HandlerFunc(answer), Protocols: protocols}
}

func grpcServer() *grpc.Server {
	// Whatever the method is: routes may tell methods apart.
	answer := func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
			return err
		}
		q := grpcQuestion(stream.Context())
		return stream.SendMsg(wrapperspb.String(q.text()))
	}
	return grpc.NewServer(grpc.UnknownServiceHandler(answer))
}

func grpcQuestion(ctx context.Context) question {
	q := question{method: "POST", proto: "gRPC"}
	q.headers, _ = metadata.FromIncomingContext(ctx)
	q.url, _ = grpc.Method(ctx)
	if from, ok := peer.FromContext(ctx); ok {
		q.from = from.Addr.String()
	}
	if authority := q.headers[":authority"]; len(authority) > 0 {
		q.host = authority[0]
	}
	return q
}

func serveTCP(listener net.Listener) error {
	hostname, _ := os.Hostname()
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			fmt.Fprintf(connection, "Hostname=%s\n", hostname)
			io.Copy(connection, connection)
		}()
	}
}
