package ic

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	ed25519Text   = "6jz6j-n6iql-wocms-l26np-a3mlz-seehv-ei4yx-xd3ix-u45hu-n2o6x-rae"
	secp256k1Text = "q7hxe-yka32-7mx5h-yiwbu-qojow-kbqbt-bjyzw-beueq-pdien-fjjhy-dae"
	p256Text      = "zttff-jcfek-uothv-qebas-gq2sd-tut2k-7jovm-f5mli-r23fv-qyjl2-6qe"
)

// privateCopy copies a committed key to a place where its mode can be set.
func privateCopy(tb testing.TB, file string, mode os.FileMode) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "identity.pem")
	noError(tb, os.WriteFile(path, readFile(tb, filepath.Join("testdata/pem", file)), 0o600))
	noError(tb, os.Chmod(path, mode))
	return path
}

func TestLoadIdentity(t *testing.T) {
	for file, want := range map[string]string{
		"ed25519_openssl.pem": ed25519Text,
		"ed25519_dfx.pem":     ed25519Text,
		"secp256k1_sec1.pem":  secp256k1Text,
		"secp256k1_pkcs8.pem": secp256k1Text,
		"p256_sec1.pem":       p256Text,
		"p256_pkcs8.pem":      p256Text,
	} {
		t.Run(file, func(t *testing.T) {
			id, created, err := LoadOrCreateIdentity(privateCopy(t, file, 0o600))
			noError(t, err)
			equal(t, created, false)
			equal(t, id.Principal().String(), want)
			// What it signs, its public key verifies.
			key := must(parsePublicKey(id.PublicKeyDER(), nil))(t)
			sig := must(id.Sign([]byte("message")))(t)
			equal(t, len(sig), 64)
			noError(t, key.verify([]byte("message"), sig))
			equal(t, key.verify([]byte("massage"), sig), ErrSignature)
			equal(t, key.verify([]byte("message"), make([]byte, 64)), ErrSignature)
			if key.verify([]byte("message"), sig[:63]) == nil {
				t.Error("a short signature was accepted")
			}
		})
	}
	for file, want := range map[string]string{
		"encrypted_pkcs8.pem":  "encrypted; export it without a password",
		"encrypted_sec1.pem":   "encrypted; export it without a password",
		"secp256k1_public.pem": "no private key",
	} {
		t.Run(file, func(t *testing.T) {
			_, _, err := LoadOrCreateIdentity(privateCopy(t, file, 0o600))
			errorContains(t, err, want)
		})
	}
}

func TestIdentityFileMode(t *testing.T) {
	for _, mode := range []os.FileMode{0o604, 0o640, 0o644, 0o660} {
		path := privateCopy(t, "ed25519_dfx.pem", mode)
		_, _, err := LoadOrCreateIdentity(path)
		errorContains(t, err, "can be read by others")
		errorContains(t, err, "chmod 600 "+path)
	}
	_, _, err := LoadOrCreateIdentity(privateCopy(t, "ed25519_dfx.pem", 0o400))
	noError(t, err)
	_, _, err = LoadOrCreateIdentity(t.TempDir())
	errorContains(t, err, "not a regular file")
}

func TestCreateIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "identity.pem")
	// Whoever starts at the same time ends up with the same identity.
	const starters = 8
	ids := make([]Identity, starters)
	created := make([]bool, starters)
	var wg sync.WaitGroup
	for i := range starters {
		wg.Go(func() {
			var err error
			if ids[i], created[i], err = LoadOrCreateIdentity(path); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := 0
	for i := range starters {
		equal(t, ids[i].Principal(), ids[0].Principal())
		if created[i] {
			count++
		}
	}
	equal(t, count, 1)
	info := must(os.Stat(path))(t)
	equal(t, info.Mode().Perm(), 0o600)
	entries := must(os.ReadDir(filepath.Dir(path)))(t)
	equal(t, len(entries), 1)
}

func TestParseIdentityPEM(t *testing.T) {
	block := func(kind string, der ...byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	for name, tt := range map[string]struct {
		text []byte
		want string
	}{
		"empty":              {nil, "no private key"},
		"no PEM":             {[]byte("hello"), "no private key"},
		"too long":           {bytes.Repeat([]byte{'x'}, maxPEM+1), "longer than"},
		"another block":      {block("OPENSSH PRIVATE KEY", 1), `"OPENSSH PRIVATE KEY" is not a private key`},
		"no key":             {block("PRIVATE KEY"), "not a PKCS#8"},
		"no EC key":          {block("EC PRIVATE KEY", 1, 2, 3), "not an EC private key"},
		"short Ed25519":      {block("PRIVATE KEY", unhex(t, "302d020100300506032b65700421041f"+strings.Repeat("01", 31))...), "not an Ed25519"},
		"unnamed curve":      {block("PRIVATE KEY", unhex(t, "3012020100300906072a8648ce3d020104023000")...), "not named"},
		"RSA":                {block("PRIVATE KEY", unhex(t, "3014020100300d06092a864886f70d01010105000400")...), "1.2.840.113549.1.1.1 are not supported"},
		"curve P-384":        {block("EC PRIVATE KEY", unhex(t, "300f020101040101a00706052b81040022")...), "curve 1.3.132.0.34 is not supported"},
		"zero secp256k1 key": {block("EC PRIVATE KEY", unhex(t, "300f020101040100a00706052b8104000a")...), "secp256k1 secret key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseIdentityPEM(tt.text)
			errorContains(t, err, tt.want)
		})
	}
}

func TestShortScalar(t *testing.T) {
	// A scalar whose leading zeros were left out: the key of the number 1.
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: unhex(t, "300f020101040101a00706052b8104000a")})
	id := must(ParseIdentityPEM(text))(t)
	want := must(Secp256k1IdentityFromScalar(append(make([]byte, 31), 1)))(t)
	equal(t, id.Principal(), want.Principal())
}

func TestAnonymous(t *testing.T) {
	id := AnonymousIdentity{}
	equal(t, id.Principal().String(), "2vxsx-fae")
	if _, err := id.Sign(nil); err == nil {
		t.Error("signed")
	}
}

func FuzzPEM(f *testing.F) {
	for _, file := range must(filepath.Glob("testdata/pem/*.pem"))(f) {
		text := readFile(f, file)
		f.Add(text)
		if block, _ := pem.Decode(text); block != nil {
			f.Add(block.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if id, err := ParseIdentityPEM(text); err == nil && len(id.Principal()) != 29 {
			t.Fatal("an identity without a principal")
		}
		_, _ = parsePKCS8(text)
		_, _ = parseSEC1(text, nil)
		_, _ = parsePublicKey(text, nil)
	})
}
