package app

import (
	"fmt"
	"io"
	"net"

	"github.com/icrelay/icrelay/candid"
)

// printAddresses tells a person, or a script, where everything is.
func printAddresses(out io.Writer, d *door, gateway candid.Principal, n *network) {
	printLine(out, "page", d.url("http"))
	printLine(out, "websocket", d.url("ws"))
	printLine(out, "gateway", gateway.String())
	printNetwork(out, n)
}

func printNetwork(out io.Writer, n *network) {
	printLine(out, "network", n.url)
	for _, name := range n.names {
		printLine(out, "canister", fmt.Sprintf("%-12s%s", name, n.canisters[name]))
	}
}

func printLine(out io.Writer, name, value string) {
	_, _ = fmt.Fprintf(out, "%-10s%s\n", name, value)
}

// reachable replaces "all addresses" by one that a browser can open.
func reachable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return address.String()
	}
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}).String()
}
