package faults

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// A line is what lies between a gateway and its network, with toxiproxy's
// faults on demand.
type line struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

func newLine(t *testing.T, networkURL string) *line {
	t.Helper()
	network, err := url.Parse(networkURL)
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &line{t: t, proxy: toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", network.Host)}
	l.mend()
	t.Cleanup(l.cut)
	return l
}

func (l *line) url() string { return "http://" + l.proxy.Listen }

// cut ends all connections; new ones are refused.
func (l *line) cut() { l.proxy.Stop() }

// mend lets connections through again, at the same address.
func (l *line) mend() {
	l.t.Helper()
	if err := l.proxy.Start(); err != nil {
		l.t.Fatal(err)
	}
}

// A toxic is a fault by toxiproxy's name, in its own units: milliseconds, KB/s, bytes.
type toxic struct {
	Type       string             `json:"type"`
	Stream     string             `json:"stream"` // "downstream" comes from the network
	Toxicity   float32            `json:"toxicity"`
	Attributes map[string]float64 `json:"attributes"`
}

// downstream is a toxic for what comes from the network, upstream for what goes there.
func downstream(kind string, attributes map[string]float64) toxic {
	return toxic{kind, "downstream", 1, attributes}
}

func upstream(kind string, attributes map[string]float64) toxic {
	return toxic{kind, "upstream", 1, attributes}
}

func (l *line) poison(toxics ...toxic) {
	l.t.Helper()
	for _, toxic := range toxics {
		text, err := json.Marshal(toxic)
		if err != nil {
			l.t.Fatal(err)
		}
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			l.t.Fatalf("%s: %v", text, err)
		}
	}
}

func (l *line) cure() { l.proxy.Toxics.ResetToxics(context.Background()) }
