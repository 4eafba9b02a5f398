package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	goplugin "github.com/hashicorp/go-plugin"
)

// findProgram returns the file of a command. Errors say what to change in the configuration.
func findProgram(cfg Config) (string, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return "", errors.New("command names no program")
	}
	name := cfg.Command[0]
	if !strings.ContainsRune(filepath.ToSlash(name), '/') {
		file, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("command: there is no program %q in PATH (a file beside config.toml is %q)", name, "./"+name)
		}
		return filepath.Abs(file)
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(cfg.Dir, name)
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("command: %w", err)
	}
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("command: there is no file %s", name)
	case err != nil:
		return "", fmt.Errorf("command: %w", err)
	case info.IsDir():
		return "", fmt.Errorf("command: %s is a folder", name)
	}
	if _, err := exec.LookPath(name); err != nil {
		return "", fmt.Errorf("command: %s is not executable (chmod +x)", name)
	}
	return name, nil
}

// checkSum compares a file with the checksum of the configuration. Whoever can
// change the file between this and its start can do so at any other time.
func checkSum(file string, want []byte) error {
	if want == nil {
		return nil
	}
	hash := sha256.New()
	check := goplugin.SecureConfig{Checksum: want, Hash: hash}
	ok, err := check.Check(file)
	if err != nil {
		return fmt.Errorf("sha256: %w", err)
	}
	if !ok {
		return fmt.Errorf("sha256: %s has checksum %s, and not %s", file, hex.EncodeToString(hash.Sum(nil)), hex.EncodeToString(want))
	}
	return nil
}

// passedOn is what a program gets of the relay's own environment. There may be
// secrets in the rest.
var passedOn = []string{"PATH", "HOME", "LANG", "TMPDIR", "TZ"}

func init() {
	if runtime.GOOS == "windows" { // without these, programs do not even start there
		passedOn = append(passedOn, "SystemRoot", "SystemDrive", "TEMP", "TMP", "USERPROFILE", "PATHEXT", "COMSPEC")
	}
}

// environment is that of an incarnation, without what go-plugin adds.
func environment(cfg Config, host Host, keys *keys, socket string) []string {
	var list []string
	for _, name := range passedOn {
		if value, ok := os.LookupEnv(name); ok {
			list = append(list, name+"="+value)
		}
	}
	// Go programs collect garbage harder before they have to be killed.
	list = append(list, "GOMEMLIMIT="+strconv.FormatInt(cfg.Memory/10*9, 10))
	for name, value := range cfg.Env {
		list = append(list, name+"="+value)
	}
	return append(list,
		"ICRELAY_HOST=unix:"+socket,
		"ICRELAY_TLS_CA="+text(keys.ca),
		"ICRELAY_TLS_CERT="+text(keys.certificate),
		"ICRELAY_TLS_KEY="+text(keys.key),
		"ICRELAY_LOG_LEVEL="+levelName(host.Log),
	)
}

func text(pem []byte) string { return string(bytes.TrimSpace(pem)) + "\n" }
