// Package skeleton writes a small adapter in Go to begin with: it builds, passes
// its tests, and runs with the configuration beside it.
package skeleton

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

//go:embed template
var templates embed.FS

var names = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// goVersion is the least that the kit builds with: that of this module.
const goVersion = "1.26.8"

// Write writes the adapter called name into the folder dir, which must be empty
// or not be there. version is that of the relay whose kit it uses; with anything
// else than a version, such as "", `go mod tidy` will choose the newest. replace
// is a folder with the relay's sources to use instead, or "".
func Write(dir, name, version, replace string) error {
	if !names.MatchString(name) {
		return fmt.Errorf("%q is no name for an adapter: at most 64 letters, digits, - and _, the first of them a letter", name)
	}
	if strings.EqualFold(name, "cdk") || strings.EqualFold(name, "relay") {
		return fmt.Errorf("%q is an adapter that the relay has itself: choose another name", name)
	}
	if !IsVersion(version) {
		version = ""
	}
	if replace != "" {
		folder, err := filepath.Abs(replace)
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(folder, "adapters", "plugin", "sdk")); err != nil {
			return fmt.Errorf("%s has not the relay's sources: %w", folder, err)
		}
		if replace = filepath.ToSlash(folder); strings.ContainsAny(replace, " \t'\"`,()[]{}") || strings.Contains(replace, "//") {
			replace = strconv.Quote(replace) // as go.mod wants it
		}
		if version == "" {
			version = "v0.0.0" // which one does not matter
		}
	}
	files, err := render(map[string]string{"Name": name, "Go": goVersion, "Version": version, "Replace": replace})
	if err != nil {
		return err
	}
	return write(dir, files)
}

// versions are what a go.mod can ask for.
var versions = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// IsVersion reports whether a relay's version is one that go.mod can ask for.
func IsVersion(version string) bool { return versions.MatchString(version) }

// render fills in the templates: names of files, and what is in them.
func render(values map[string]string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	entries, err := fs.ReadDir(templates, "template")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		t, err := template.ParseFS(templates, "template/"+entry.Name())
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, values); err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(entry.Name(), ".tmpl")
		if name == "gitignore" {
			name = ".gitignore" // which embed leaves out
		}
		files[name] = out.Bytes()
	}
	return files, nil
}

func write(dir string, files map[string][]byte) error {
	found, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // sources, for everybody to read
			return err
		}
	case err != nil:
		return err
	case len(found) > 0:
		return fmt.Errorf("%s is not empty: choose another folder", dir)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil { //nolint:gosec // sources, for everybody to read
			return err
		}
	}
	return nil
}
