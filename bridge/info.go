package bridge

import (
	"encoding/json"
	"net/http"

	"github.com/icrelay/icrelay/candid"
)

// Info is what GET /info answers: all that a page needs to connect.
type Info struct {
	GatewayPrincipal string            `json:"gateway_principal"`
	Network          NetworkInfo       `json:"network"`
	Canisters        map[string]string `json:"canisters"` // name -> id, embedded network only
	Routes           []RouteInfo       `json:"routes"`
}

// NetworkInfo says where the gateway's canisters live.
type NetworkInfo struct {
	URL        string `json:"url"`
	RootKeyHex string `json:"root_key_hex"` // DER
}

// RouteInfo is one route; Canister is "*" for the route to any canister.
type RouteInfo struct {
	Canister string `json:"canister"`
	Adapter  string `json:"adapter"`
}

func (i Info) complete(gateway candid.Principal, routes []Route) Info {
	i.GatewayPrincipal = gateway.String()
	if i.Canisters == nil {
		i.Canisters = map[string]string{}
	}
	i.Routes = make([]RouteInfo, 0, len(routes))
	for _, r := range routes {
		canister := "*"
		if !r.Any {
			canister = r.Canister.String()
		}
		i.Routes = append(i.Routes, RouteInfo{Canister: canister, Adapter: r.Name})
	}
	return i
}

func (g *Gateway) serveInfo(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*") // nothing in it is secret
	writeJSON(w, http.StatusOK, g.info.Load())
}

func (g *Gateway) serveHealth(w http.ResponseWriter, _ *http.Request) {
	n, open := g.connections()
	status, text := http.StatusOK, "ok"
	if !open {
		status, text = http.StatusServiceUnavailable, "stopping"
	}
	writeJSON(w, status, map[string]any{"status": text, "connections": n})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; nothing to do about it
}
