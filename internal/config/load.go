package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
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
	problems := &problems{file: path, lines: indexLines(data)}
	c := defaults()
	c.dir = filepath.Dir(path)
	c.decode(data, problems)
	c.validate(problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

// maxTypeErrors is how many values of a wrong type are reported.
const maxTypeErrors = 50

// decode is strict and goes on after a value of a wrong type: package toml
// stops at the first, so its line is blanked and the rest read again.
func (c *Config) decode(data []byte, p *problems) {
	lines := bytes.Split(bytes.Clone(data), []byte("\n"))
	for range maxTypeErrors {
		fresh := defaults()
		fresh.dir = c.dir
		meta, err := toml.Decode(string(bytes.Join(lines, []byte("\n"))), &fresh)
		if err == nil {
			*c = fresh
			p.unknownKeys(meta.Undecoded())
			return
		}
		n, text := position(err)
		if n < 1 || n > len(lines) {
			p.fatal(0, "", text)
			return
		}
		key := p.lines.keyAt(n)
		if !isValueError(text) || len(bytes.TrimSpace(lines[n-1])) == 0 {
			p.fatal(n, key, text)
			return
		}
		p.at(n, key, text)
		lines[n-1] = nil
	}
}

// tomlError is how package toml writes an error of a line; only some of them
// have a type that tells it otherwise.
var tomlError = regexp.MustCompile(`^toml: line (\d+)(?: \(last key "[^"]*"\))?: (?s)(.*)$`)

func position(err error) (line int, text string) {
	var parse toml.ParseError
	if errors.As(err, &parse) && parse.Message != "" {
		return parse.Position.Line, parse.Message
	}
	m := tomlError.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, err.Error()
	}
	line, _ = strconv.Atoi(m[1])
	return line, m[2]
}

// isValueError tells a value of a wrong type, which other values do not
// depend on, from a file that is not TOML.
func isValueError(text string) bool {
	return strings.Contains(text, "incompatible types") ||
		strings.Contains(text, "time: ") ||
		strings.Contains(text, "out of range")
}
