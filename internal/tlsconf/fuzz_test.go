package tlsconf

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/icrelay/icrelay/internal/testalloc"
	"github.com/icrelay/icrelay/internal/tlsconf/pairtest"
)

// fuzzPair are the names of two files.
type fuzzPair struct{ cert, key string }

// FuzzPair: files of whatever content are refused with the name of the one
// that is wrong, or are a key and its certificate.
func FuzzPair(f *testing.F) {
	one, other := pairtest.New(f, time.Hour, "a.example"), pairtest.New(f, time.Hour, "b.example")
	block, _ := pem.Decode(one.Key)
	for _, seed := range [][2][]byte{
		{one.Cert, one.Key},
		{one.Cert, other.Key},
		{append(append([]byte("a chain\n"), one.Cert...), other.Cert...), append(append([]byte{}, one.Cert...), one.Key...)},
		{one.Key, one.Cert},
		{one.Cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes})},
		{one.Cert, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: block.Bytes})},
		{one.Cert, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: block.Bytes})},
		{[]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), nil},
	} {
		f.Add(seed[0], seed[1])
	}
	folder := f.TempDir()
	files := fuzzPair{filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")}
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		for name, content := range map[string][]byte{files.cert: cert, files.key: key} {
			_ = os.Remove(name) // to write into it would take some file systems to the disk
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		testalloc.Within(t, "a pair", 128*(len(cert)+len(key)), func() { files.check(t) })
		if _, err := LoadRoots(files.cert); err != nil && !strings.HasPrefix(err.Error(), files.cert+": ") {
			t.Fatalf("LoadRoots: %v", err)
		}
	})
}

func (p fuzzPair) check(t *testing.T) {
	t.Helper()
	pair, err := LoadPair(p.cert, p.key)
	if err != nil {
		var bad *PairError
		if !errors.As(err, &bad) || bad.File != p.cert && bad.File != p.key || bad.OfKey != (bad.File == p.key) || strings.Count(err.Error(), bad.File) != 1 {
			t.Fatalf("%+v", err)
		}
		return
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatalf("accepted: %v", err)
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(leaf.PublicKey) {
		t.Fatal("accepted, though the key is not the certificate's")
	}
}
