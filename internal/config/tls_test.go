package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/tlsconf/pairtest"
)

// withTLS has [gateway.tls] on line 3.
func withTLS(settings string) string {
	return "[gateway]\nlisten = \"127.0.0.1:8443\"\n[gateway.tls]\n" + settings + "\n" + routeOfAny
}

// pairFiles writes a pair and returns its names.
func pairFiles(t *testing.T) (cert, key string) {
	t.Helper()
	return pairtest.New(t, time.Hour, "ws.example.org").Write(t, t.TempDir())
}

func TestTLSRules(t *testing.T) {
	cert, key := pairFiles(t)
	otherCert, _ := pairFiles(t)
	files := fmt.Sprintf("cert = %q\nkey = %q\n", cert, key)
	const domains = "domains = [\"ws.example.org\"]\naccept_terms = true\n"
	many := listOf(101, func(i int) string { return fmt.Sprintf(`"d%d.example.org"`, i) })
	tests := []struct {
		name, settings string
		want           []string
	}{
		{"an empty table", "", []string{`:3: gateway.tls: needs cert and key, the names of two PEM files, or domains = ["ws.example.org"]`}},
		{"only http_listen", `http_listen = "127.0.0.1:8080"`, []string{":3: gateway.tls: needs cert and key"}},
		{"a certificate without a key", fmt.Sprintf("http_listen = \"127.0.0.1:8080\"\ncert = %q", cert), []string{`:5: gateway.tls.cert: is half of a pair: add key = "...", the PEM file with the certificate's private key`}},
		{"a key without a certificate", fmt.Sprintf("key = %q", key), []string{`:4: gateway.tls.key: is half of a pair: add cert = "..."`}},
		{"an empty certificate", fmt.Sprintf("cert = \"\"\nkey = %q", key), []string{":4: gateway.tls.cert: must name a PEM file"}},
		{"an empty key", fmt.Sprintf("cert = %q\nkey = \"\"", cert), []string{":5: gateway.tls.key: must name a PEM file"}},
		{"no such certificate", fmt.Sprintf("cert = \"nowhere.pem\"\nkey = %q", key), []string{"/nowhere.pem: no such file"}},
		{"no such key", fmt.Sprintf("cert = %q\nkey = \"nowhere.pem\"", cert), []string{"/nowhere.pem: no such file"}},
		{"of two pairs", fmt.Sprintf("cert = %q\nkey = %q", otherCert, key), []string{":5: gateway.tls.key: " + key + ": is not the key of the certificate in " + otherCert}},
		{"swapped", fmt.Sprintf("cert = %q\nkey = %q", key, cert), []string{":4: gateway.tls.cert: " + key + ": has no certificate in it"}},
		{"wrong types", "cert = 1\nkey = true", []string{":4: gateway.tls.cert: must be a text", ":5: gateway.tls.key: must be a text"}},
		{"files and domains", files + domains, []string{":6: gateway.tls.domains: either cert and key, or domains"}},
		{"files and what is for domains", files + "email = \"ops@example.org\"\nca = \"https://ca.example/dir\"\nca_root = \"x\"\nstorage = \"s\"\naccept_terms = true",
			[]string{":6: gateway.tls.email: is for automatic certificates only", ":7: gateway.tls.ca: ", ":8: gateway.tls.ca_root: ", ":9: gateway.tls.storage: ", ":10: gateway.tls.accept_terms: "}},

		{"no domains", "domains = []\naccept_terms = true", []string{":4: gateway.tls.domains: must name at least one"}},
		{"terms not accepted", `domains = ["ws.example.org"]`, []string{":3: gateway.tls.accept_terms: must be true"}},
		{"terms refused", "domains = [\"ws.example.org\"]\naccept_terms = false", []string{":5: gateway.tls.accept_terms: must be true"}},
		{"what is no domain", "domains = [\"https://ws.example.org\", \"192.0.2.1\", \"*.example.org\", \"a.example.org\", \"A.example.org\", \"localhost\", \"bücher.example\", \"\", \"a..b\", \"a.example.org.\"]\naccept_terms = true",
			[]string{`:4: gateway.tls.domains[0]: "https://ws.example.org" is not a domain`, `domains[1]: "192.0.2.1" is an address`, `domains[2]: "*.example.org": a wildcard needs`, `domains[4]: "A.example.org" is listed already`, `domains[5]: "localhost" is no public name`, `domains[6]: "bücher.example" is not a domain`, "domains[7]: ", "domains[8]: ", "domains[9]: "}},
		{"a domain of a wrong type", "domains = [1]\naccept_terms = true", []string{":4: gateway.tls.domains[0]: must be a text"}},
		{"domains of a wrong type", "domains = \"a.example.org\"\naccept_terms = true", []string{":4: gateway.tls.domains: must be a list"}},
		{"too many domains", "domains = " + many + "\naccept_terms = true", []string{":4: gateway.tls.domains: 101 are too many: at most 100"}},
		{"an email that is none", domains + `email = "Ops <ops@example.org>"`, []string{":6: gateway.tls.email: "}},
		{"a CA that is none", domains + `ca = "letsencrypt"`, []string{`:6: gateway.tls.ca: "letsencrypt" is not the URL of an ACME directory`}},
		{"a CA without TLS", domains + `ca = "http://ca.example/dir"`, []string{":6: gateway.tls.ca: \"http://ca.example/dir\" must begin with https"}},
		{"a CA with a user", domains + `ca = "https://me@ca.example/dir"`, []string{":6: gateway.tls.ca: "}},
		{"a root without a CA", domains + fmt.Sprintf("ca_root = %q", cert), []string{":6: gateway.tls.ca_root: is for a CA of your own"}},
		{"a root that is none", domains + fmt.Sprintf("ca = \"https://ca.example/dir\"\nca_root = %q", key), []string{":7: gateway.tls.ca_root: " + key + ": has no certificate in it"}},
		{"a file as the folder", domains + fmt.Sprintf("storage = %q", key), []string{":6: gateway.tls.storage: " + key + " is a file"}},

		{"no address", files + `http_listen = "80"`, []string{`:6: gateway.tls.http_listen: "80" is not an address`}},
		{"an empty address", files + `http_listen = ""`, []string{":6: gateway.tls.http_listen: "}},
		{"the gateway's address", files + `http_listen = "0.0.0.0:8443"`, []string{`:6: gateway.tls.http_listen: gateway.listen = "127.0.0.1:8443" and gateway.tls.http_listen = "0.0.0.0:8443" cannot both`}},
		{"the network's address", files + `http_listen = "127.0.0.1:4943"`, []string{`:6: gateway.tls.http_listen: gateway.tls.http_listen = "127.0.0.1:4943" and network.listen = "127.0.0.1:4943" cannot both`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { wantProblems(t, withTLS(test.settings), test.want) })
	}
}

func TestTLSAccepted(t *testing.T) {
	cert, key := pairFiles(t)
	for name, settings := range map[string]string{
		"files":                fmt.Sprintf("cert = %q\nkey = %q", cert, key),
		"files and a redirect": fmt.Sprintf("cert = %q\nkey = %q\nhttp_listen = \"127.0.0.1:8080\"", cert, key),
		"a CA of one's own":    fmt.Sprintf("domains = [\"relay\"]\naccept_terms = true\nca = \"http://127.0.0.1:14000/dir\"\nca_root = %q", cert),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(write(t, withTLS(settings))); err != nil {
				t.Error(err)
			}
		})
	}
	cfg, err := Load(write(t, withTLS("domains = [\"WS.example.org\"]\naccept_terms = true")))
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(filepath.Dir(cfg.File()), ".relay", "certificates")
	if tls := cfg.Gateway.TLS; tls.Storage != folder || tls.Domains[0] != "ws.example.org" {
		t.Errorf("%+v", tls)
	}
}

// Names of files are relative to the configuration's.
func TestTLSRelativePaths(t *testing.T) {
	pair := pairtest.New(t, time.Hour, "ws.example.org")
	file := write(t, withTLS("cert = \"cert.pem\"\nkey = \"key.pem\""))
	if _, err := Load(file); err == nil {
		t.Error("files that are not there were accepted")
	}
	pair.Write(t, filepath.Dir(file))
	if _, err := Load(file); err != nil {
		t.Error(err)
	}
}

func TestNeedsRestart(t *testing.T) {
	cert, key := pairFiles(t)
	otherCert, otherKey := pairFiles(t)
	tls := func(cert, key, more string) string {
		return fmt.Sprintf("[gateway.tls]\ncert = %q\nkey = %q\n%s\n", cert, key, more)
	}
	const gateway = "[gateway]\nlisten = \"127.0.0.1:8443\"\n"
	another := strings.Replace(routeOfAny, `"*"`, `"rrkah-fqaaa-aaaaa-aaaaq-cai"`, 1)
	tests := []struct {
		name, running, next string
		want                []string
	}{
		{"nothing", gateway + routeOfAny, gateway + routeOfAny, nil},
		{"other routes", gateway + routeOfAny, gateway + another, nil},
		{"a default, written out", gateway + routeOfAny, gateway + "[gateway.limits]\nopen_timeout = \"1m\"\n" + routeOfAny, nil},
		{"other certificates", gateway + tls(cert, key, "") + routeOfAny, gateway + tls(otherCert, otherKey, "") + routeOfAny, nil},
		{"files, then domains", gateway + tls(cert, key, "") + routeOfAny, gateway + "[gateway.tls]\ndomains = [\"a.example.org\"]\naccept_terms = true\n" + routeOfAny, nil},
		{"TLS", gateway + routeOfAny, gateway + tls(cert, key, "") + routeOfAny, []string{"gateway.tls"}},
		{"no TLS", gateway + tls(cert, key, "") + routeOfAny, gateway + routeOfAny, []string{"gateway.tls"}},
		{"a redirect", gateway + tls(cert, key, "") + routeOfAny, gateway + tls(cert, key, `http_listen = "127.0.0.1:8080"`) + routeOfAny, []string{"gateway.tls.http_listen"}},
		{"much", gateway + routeOfAny, "[gateway]\nlisten = \"127.0.0.1:9\"\nidentity = \"other.pem\"\nweb = \"w\"\n[gateway.limits]\nmax_connections = 5\n[gateway.polling]\ninterval = \"1s\"\n[gateway.log]\nlevel = \"debug\"\n[network]\nurl = \"https://icp-api.io\"\n" + routeOfAny,
			[]string{"gateway.identity", "gateway.limits.max_connections", "gateway.listen", "gateway.log.level", "gateway.polling.interval", "gateway.web", "network.listen", "network.url"}},
		{"canisters", gateway + routeOfAny, gateway + "[[network.canister]]\nname = \"e\"\nwasm = \"builtin:echo\"\n" + routeOfAny, []string{"network.canister"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := write(t, test.running)
			running, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(test.next), 0o600); err != nil {
				t.Fatal(err)
			}
			next, err := Load(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := NeedsRestart(running, next); !slices.Equal(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
