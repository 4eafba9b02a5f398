package localnet

import (
	"net/http"

	"github.com/icrelay/icrelay/candid/cbor"
)

const (
	// apiVersion is what a replica reports: the version of the interface
	// specification at which it stopped counting.
	apiVersion  = "0.18.0"
	implVersion = "icrelay-localnet"
)

// status serves /api/v2/status (interface specification, "Status endpoint").
// The root key is there because the network is a short-lived development instance.
func (n *Network) status(w http.ResponseWriter, _ *http.Request) {
	b := cbor.AppendSelfDescribe(make([]byte, 0, 320))
	b = cbor.AppendMap(b, 5)
	b = cbor.AppendText(b, "ic_api_version")
	b = cbor.AppendText(b, apiVersion)
	b = cbor.AppendText(b, "root_key")
	b = cbor.AppendBytes(b, n.rootKey)
	b = cbor.AppendText(b, "impl_version")
	b = cbor.AppendText(b, implVersion)
	b = cbor.AppendText(b, "replica_health_status")
	b = cbor.AppendText(b, "healthy")
	b = cbor.AppendText(b, "certified_height")
	b = cbor.AppendUint(b, n.certifier.height.Load())
	writeCBOR(w, b)
}
