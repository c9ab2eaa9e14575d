// Command coredns answers names of a test cluster's services. It carries only the parts that this takes, which are
// built in a fraction of the time of the whole program.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
	// What is not registered here is unknown in a Corefile; the order is that in which a question passes the parts.
	dnsserver.Directives = []string{"bind", "errors", "kubernetes"}
	coremain.Run()
}
