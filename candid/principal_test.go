package candid

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParsePrincipal(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"upper case":      {"EM77E-BVLZU-AQ", "lower case"},
		"no dashes":       {"em77ebvlzuaq", "canonical text is"},
		"odd dashes":      {"em77-ebvlz-uaq", "canonical text is"},
		"trailing dash":   {"em77e-bvlzu-aq-", "canonical text is"},
		"wrong checksum":  {"em77f-bvlzu-aq", "checksum"},
		"too short":       {"em77e", "too short"},
		"empty":           {"", "too short"},
		"padding bits":    {"em77e-bvlzu-ar", "canonical text is"},
		"not base32":      {"em77e-bvlz1-aq", "not base32"},
		"space":           {" em77e-bvlzu-aq", "not base32"},
		"newline":         {"em77e-bvlzu-aq\n", "canonical text is"},
		"far too long":    {strings.Repeat("aaaaa-", 1000), "at most 63"},
		"30 bytes":        {Principal(strings.Repeat("\x01", 30)).String(), "at most 63"},
		"a canister name": {"guestbook", "principal"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePrincipal(tt.text)
			errorContains(t, err, tt.want)
		})
	}
}

func TestPrincipalRoundTrip(t *testing.T) {
	for n := range MaxPrincipalLength + 1 {
		p := Principal(strings.Repeat("\xa5", n))
		equal(t, mustPrincipal(t, p.String()), p)
		equal(t, string(p.Bytes()), string(p))
	}
	_, err := PrincipalFromBytes(make([]byte, 30))
	equal(t, err, errPrincipalLength)
	equal(t, Anonymous.String(), "2vxsx-fae")
	equal(t, Anonymous.IsAnonymous(), true)
	equal(t, ManagementCanister.String(), "aaaaa-aa")
	equal(t, ClientKey{Anonymous, 12}.String(), "2vxsx-fae_12")
}

func TestPrincipalInJSON(t *testing.T) {
	raw, err := json.Marshal([]Principal{Anonymous, ManagementCanister})
	equal(t, err, nil)
	equal(t, string(raw), `["2vxsx-fae","aaaaa-aa"]`)
	var back []Principal
	equal(t, json.Unmarshal(raw, &back), nil)
	equal(t, back[0], Anonymous)
	if json.Unmarshal([]byte(`"2VXSX-FAE"`), new(Principal)) == nil {
		t.Error("a text that is not canonical was accepted")
	}
}

func TestSelfAuthenticating(t *testing.T) {
	// The envelope's sender is the owner of its key: JavaScript computed it.
	for _, js := range loadEnvelopes(t) {
		e, err := DecodeEnvelope(js.bytes(t))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, SelfAuthenticating(e.SenderPubkey).String(), js.Sender)
	}
}
