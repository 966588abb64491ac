package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ask asks as often as it is told to, and prints each answer followed by an empty line.
func ask(args []string) error {
	flags := flag.NewFlagSet("client", flag.ExitOnError)
	var headers list
	flags.Var(&headers, "H", "header, name:value, may be repeated")
	method := flags.String("method", "GET", "method")
	count := flags.Int("count", 1, "how often to ask")
	timeout := flags.Duration("timeout", 5*time.Second, "how long an answer may take")
	// Flags may follow the URL.
	var where string
	for flags.Parse(args); flags.NArg() > 0; flags.Parse(flags.Args()[1:]) {
		where = flags.Arg(0)
	}
	to, err := url.Parse(where)
	if err != nil {
		return err
	}
	once := func(ctx context.Context) (answer, error) { return askHTTP(ctx, *method, to, headers) }
	if to.Scheme == "grpc" {
		connection, err := grpc.NewClient(to.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer connection.Close()
		once = func(ctx context.Context) (answer, error) { return askGRPC(ctx, connection, headers) }
	}
	for i := range *count {
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		got, err := once(ctx)
		cancel()
		if err != nil {
			return err
		}
		got.print(i)
	}
	return nil
}

type answer struct {
	status  int
	headers http.Header
	body    string
}

func (a answer) print(number int) {
	fmt.Printf("[%d] StatusCode=%d\n", number, a.status)
	for _, name := range slices.Sorted(maps.Keys(a.headers)) {
		for _, value := range a.headers[name] {
			fmt.Printf("[%d] ResponseHeader=%s:%s\n", number, name, value)
		}
	}
	for line := range strings.Lines(a.body) {
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			fmt.Printf("[%d body] %s\n", number, line)
		}
	}
	fmt.Fprintln(os.Stdout)
}

// A connection for each request, so that each can go elsewhere; redirects are answers.
func askHTTP(ctx context.Context, method string, to *url.URL, headers list) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, to.String(), nil)
	if err != nil {
		return answer{}, err
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		if strings.EqualFold(name, "host") {
			request.Host = value
		} else {
			request.Header.Add(name, value)
		}
	}
	client := http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the servers' certificates are nobody's
		},
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}

func askGRPC(ctx context.Context, connection *grpc.ClientConn, headers list) (answer, error) {
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	var got metadata.MD
	reply := new(wrapperspb.StringValue)
	if err := connection.Invoke(ctx, grpcMethod, wrapperspb.String(""), reply, grpc.Header(&got)); err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, http.Header(got), reply.GetValue()}, nil
}
