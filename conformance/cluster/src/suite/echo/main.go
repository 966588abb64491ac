// Command echo is both ends of the mesh tests, in the form that the conformance suite reads: called as `server` it says
// what it was asked and who it is, called as `client` it asks and prints what was said.
//
//	server --port=N.. [--tls=N.. --crt=FILE --key=FILE] [--grpc=N..] [--tcp=N..]
//	client [--method=GET] [-H name:value].. [--count=N] http|https|grpc://HOST[:PORT][/PATH]
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// grpcMethod takes and gives a google.protobuf.StringValue.
const grpcMethod = "/windlass.Echo/Echo"

func main() {
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "server":
		err = serve(os.Args[1:])
	case "client":
		err = ask(os.Args[1:])
	default:
		err = fmt.Errorf("called as %q: wanted server or client", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// list is a flag that may be repeated.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}
