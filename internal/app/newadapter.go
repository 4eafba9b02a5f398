package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/icrelay/icrelay/adapters/plugin/skeleton"
)

// NewAdapter writes the skeleton of an adapter into a new folder, "" for one of
// its name, and says on out what comes next. replace is a folder with the
// relay's sources, "" for a published version.
func NewAdapter(name, dir, replace string, out io.Writer) error {
	if dir == "" {
		dir = name
	}
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("%s is there already: choose another folder with --dir, or remove it", dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := skeleton.Write(dir, name, Version(), replace); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s has an adapter that refuses long messages, for you to change. Next:\n\n  cd %[1]s\n  go mod tidy && go test . && go build -o %[2]s .\n  relay adapter test ./%[2]s\n", dir, name)
	if replace == "" && !skeleton.IsVersion(Version()) {
		_, _ = fmt.Fprintf(out, "\nThis relay was built from a checkout, so go mod tidy takes the newest published version of the kit.\nTo build with the checkout: relay adapter new --replace <its folder>\n")
	}
	return nil
}
