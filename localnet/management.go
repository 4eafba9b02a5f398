package localnet

import "github.com/icrelay/icrelay/candid"

// managementTarget is the effective canister id that a call to the management
// canister must have (interface specification, "Effective canister id"): the
// canister that its argument names. anywhere means that every id will do: canisters
// are created and listed anywhere, and a call without a canister in its argument
// is rejected by the machine whatever the URL says.
func managementTarget(method string, arg []byte) (target candid.Principal, anywhere bool) {
	label := "canister_id"
	switch method {
	case "create_canister", "provisional_create_canister_with_cycles", "list_canisters":
		return "", true
	case "install_chunked_code":
		label = "target_canister"
	}
	values, err := candid.Decode(arg, candid.Limits{})
	if err != nil || len(values) == 0 {
		return "", true
	}
	target, ok := values[0].Field(label).Principal()
	return target, !ok
}

// atSubnet tells which methods the subnet endpoints serve.
func atSubnet(requestType, method string) bool {
	switch requestType {
	case candid.RequestCall:
		return method == "create_canister" || method == "provisional_create_canister_with_cycles"
	case candid.RequestQuery:
		return method == "list_canisters"
	}
	return false
}
