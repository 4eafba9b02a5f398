package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// maxFileBytes bounds what Load reads; a configuration is small.
const maxFileBytes = 1 << 20

// Load reads and checks a configuration file. The error is an *Error when the
// file could be read but not accepted.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no configuration file %s: name one with --config", path)
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFileBytes {
		return nil, fmt.Errorf("%s has %d bytes; a configuration file has at most %d", path, info.Size(), maxFileBytes)
	}
	data, err := os.ReadFile(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse checks the contents of a configuration file. Relative paths in it
// start at the file's folder.
func Parse(path string, data []byte) (*Config, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark, which some editors write
	problems := &problems{file: path, lines: indexLines(data)}
	c := defaults()
	c.file, c.dir = path, filepath.Dir(path)
	c.decode(data, problems)
	c.validate(problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	return &c, nil
}
