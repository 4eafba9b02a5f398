package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"

	goplugin "github.com/hashicorp/go-plugin"
)

// The handshake of go-plugin: who starts a program by hand gets a sentence
// instead, because the cookie is missing.
const (
	cookieKey, cookieValue = "ICRELAY_ADAPTER", "v1"

	// contractVersion is what breaks the rules in the contract's first lines.
	contractVersion = 1
)

func handshakeConfig() goplugin.HandshakeConfig {
	return goplugin.HandshakeConfig{ProtocolVersion: contractVersion, MagicCookieKey: cookieKey, MagicCookieValue: cookieValue}
}

// firstLine is the one line of standard output that go-plugin reads:
//
//	1|<version of the contract>|unix|<path>|grpc
//
// What it cannot be is found here, because the person at the other end deserves
// a better sentence than go-plugin's.
type firstLine struct {
	reader *io.PipeReader
	writer *io.PipeWriter

	mu      sync.Mutex
	done    bool
	problem error
}

func newFirstLine() *firstLine {
	r, w := io.Pipe()
	return &firstLine{reader: r, writer: w}
}

// set takes the line.
func (f *firstLine) set(line []byte) {
	plain, err := readHandshake(string(bytes.TrimSpace(line)))
	if err != nil {
		f.end(err)
		return
	}
	_, _ = io.WriteString(f.writer, plain+"\n")
	f.end(nil)
}

// end ends what go-plugin reads. A problem counts if there was no line, and none before.
func (f *firstLine) end(problem error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.done {
		f.done, f.problem = true, problem
		_ = f.writer.Close()
	}
}

// why is the problem with the line, if there is one.
func (f *firstLine) why() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

// readHandshake checks a handshake line and returns what go-plugin needs of it.
// A certificate in it is left out: go-plugin would believe it.
func readHandshake(line string) (string, error) {
	parts := strings.Split(line, "|")
	if len(parts) < 5 {
		return "", fmt.Errorf("its first line on standard output must be the handshake 1|%d|unix|<path>|grpc, and is %q (logs belong on standard error)", contractVersion, shorten(line, 80))
	}
	core, err := strconv.Atoi(parts[0])
	if err != nil || core != goplugin.CoreProtocolVersion {
		return "", fmt.Errorf("its handshake begins with %q, where go-plugin's own version %d belongs", shorten(parts[0], 20), goplugin.CoreProtocolVersion)
	}
	if version, err := strconv.Atoi(parts[1]); err != nil || version != contractVersion {
		return "", fmt.Errorf("it speaks version %q of the adapter contract, and this relay version %d: one of the two is too old", shorten(parts[1], 20), contractVersion)
	}
	if protocol := parts[4]; protocol != string(goplugin.ProtocolGRPC) {
		return "", fmt.Errorf("its handshake offers protocol %q, and must offer %q", shorten(protocol, 20), goplugin.ProtocolGRPC)
	}
	switch network, address := parts[2], parts[3]; network {
	case "unix":
		if address == "" {
			return "", errors.New("its handshake names no socket")
		}
	case "tcp":
		host, _, err := net.SplitHostPort(address)
		if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
			return "", fmt.Errorf("its handshake names the TCP address %q, which is not one of this machine (127.0.0.1:<port>)", shorten(address, 80))
		}
	default:
		return "", fmt.Errorf("its handshake names a socket of kind %q, and not of kind \"unix\"", shorten(network, 20))
	}
	return strings.Join(parts[:5], "|"), nil
}

// shorten cuts a foreign text for a sentence.
func shorten(text string, limit int) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
