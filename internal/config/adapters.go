package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Adapter is one [[adapter]]: a process of one's own that reaches canisters.
type Adapter struct {
	Name         string            `toml:"name"`
	Command      []string          `toml:"command"`
	Env          map[string]string `toml:"env"`
	SHA256       string            `toml:"sha256"` // of the file that Command[0] is, hex
	Memory       Size              `toml:"memory"`
	StartTimeout Duration          `toml:"start_timeout"`
	CallTimeout  Duration          `toml:"call_timeout"`
	MaxCalls     int               `toml:"max_calls"`

	// Files are what the command runs, as they were when the file was read: a
	// new version of a program is a change of its adapter.
	Files []File
}

// A File is one version of a file.
type File struct {
	Path  string // absolute
	Size  int64
	Mtime time.Time
}

// Executable is the absolute path of Command[0].
func (a *Adapter) Executable() string {
	if len(a.Files) == 0 {
		return ""
	}
	return a.Files[0].Path
}

// Defaults and bounds of [[adapter]].
const (
	defaultMemory      = 512 << 20
	leastMemory        = 32 << 20 // an empty process with gRPC needs most of it
	mostMemory         = 1 << 40
	defaultMaxCalls    = 256
	mostMaxCalls       = 10_000
	defaultStart       = 10 * time.Second
	defaultCallTimeout = 30 * time.Second
)

// NewAdapter is an adapter that stands in no file. Its program is looked for as
// one of a file in dir is.
func NewAdapter(name string, command []string, dir string) (Adapter, error) {
	program, err := findProgram(command[0], dir)
	if err != nil {
		return Adapter{}, err
	}
	return Adapter{
		Name: name, Command: command, Files: stamps(program, command, dir),
		Memory: defaultMemory, StartTimeout: Duration(defaultStart), CallTimeout: Duration(defaultCallTimeout), MaxCalls: defaultMaxCalls,
	}, nil
}

// known are the adapters that routes may name.
type known struct {
	own     []string
	unknown bool // some names could not be read
}

// validateAdapters checks the tables. dir is the folder of the file.
func validateAdapters(list []Adapter, dir string, p *problems) known {
	k := known{unknown: !p.read("adapter")}
	for i := range list {
		a, key := &list[i], index("adapter", i)
		k.add(p, key+".name", a.Name)
		a.validateCommand(p, key, dir)
		checkEnv(p, key+".env", a.Env)
		checkSize(p, key+".memory", &a.Memory, defaultMemory, leastMemory, mostMemory)
		checkDuration(p, key+".start_timeout", &a.StartTimeout, defaultStart, shortest)
		checkDuration(p, key+".call_timeout", &a.CallTimeout, defaultCallTimeout, shortest)
		checkAtMost(p, key+".max_calls", a.MaxCalls, mostMaxCalls)
		if a.MaxCalls == 0 {
			a.MaxCalls = defaultMaxCalls
		}
	}
	return k
}

var adapterName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

func (k *known) add(p *problems, key, name string) {
	builtin := func(s string) bool { return strings.EqualFold(s, name) }
	switch {
	case !p.read(key):
		k.unknown = true
	case name == "":
		p.add(key, "every adapter needs a name, which routes use")
	case slices.ContainsFunc(adapters, builtin):
		p.add(key, "%q is a built-in adapter (%s): choose another name", name, strings.Join(adapters, ", "))
	case !adapterName.MatchString(name):
		p.add(key, "%q is no name for an adapter: at most 64 letters, digits, - and _, the first of them a letter", name)
	case slices.Contains(k.own, name):
		p.add(key, "%q is the name of another adapter", name)
	}
	k.own = append(k.own, name)
}

func (a *Adapter) validateCommand(p *problems, table, dir string) {
	key, sum := table+".command", table+".sha256"
	if !p.read(key) {
		return
	}
	if len(a.Command) == 0 {
		p.add(key, `must be a program and its arguments, for example ["./my-adapter"] or ["python3", "my_adapter.py"]`)
		return
	}
	sound := true
	for i, word := range a.Command {
		at := index(key, i)
		switch {
		case !p.read(at):
			sound = false
		case i == 0 && strings.TrimSpace(word) == "":
			p.add(at, "must name a program")
			sound = false
		case strings.Contains(word, "\x00"):
			p.add(at, "has a zero byte in it, which no argument can have")
			sound = false
		}
	}
	if !sound {
		return
	}
	file, err := findProgram(a.Command[0], dir)
	if err != nil {
		p.add(index(key, 0), "%v", err)
		return
	}
	a.Files = stamps(file, a.Command, dir)
	if p.given[sum] && p.read(sum) {
		a.checkSum(p, sum)
	}
}

// findProgram returns the absolute path of a program: one with a slash is a
// path, which starts at the file's folder, one without is looked up in PATH.
func findProgram(name, dir string) (string, error) {
	if !strings.ContainsRune(name, '/') && !strings.ContainsRune(name, filepath.Separator) {
		if file, err := exec.LookPath(name); err == nil {
			return filepath.Abs(file)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return "", fmt.Errorf("%q is in no folder of PATH; for the one beside the configuration write %q", name, "./"+name)
		}
		return "", fmt.Errorf("%q is in no folder of PATH; a program beside the configuration is written %q", name, "./"+name)
	}
	file := name
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	file, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	switch {
	case os.IsNotExist(err):
		return "", fmt.Errorf("there is no file %s; build it first, or correct the path, which starts at the folder of this file", file)
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fmt.Errorf("%s is a folder, not a program", file)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a program", file)
	}
	if _, err := exec.LookPath(file); err != nil {
		return "", fmt.Errorf("%s cannot be executed: `chmod +x` it, or put its interpreter in front", file)
	}
	return file, nil
}

// stamps are the program, and the script where the program is an interpreter:
// one from PATH, whose first argument that is no option names a file.
func stamps(program string, command []string, dir string) []File {
	files := []File{stamp(program)}
	if strings.ContainsRune(command[0], '/') {
		return files
	}
	for _, word := range command[1:] {
		if strings.HasPrefix(word, "-") {
			continue
		}
		if !filepath.IsAbs(word) {
			word = filepath.Join(dir, word)
		}
		if script, err := filepath.Abs(word); err == nil {
			if info, err := os.Stat(script); err == nil && info.Mode().IsRegular() {
				files = append(files, stamp(script))
			}
		}
		break
	}
	return files
}

func stamp(path string) File {
	f := File{Path: path}
	if info, err := os.Stat(path); err == nil {
		f.Size, f.Mtime = info.Size(), info.ModTime()
	}
	return f
}

// checkSum wants the checksum of the program. Each start of the process
// compares it again.
func (a *Adapter) checkSum(p *problems, key string) {
	want, err := hex.DecodeString(a.SHA256)
	if err != nil || len(want) != sha256.Size {
		p.add(key, "must be 64 hexadecimal digits, as `sha256sum` writes them")
		return
	}
	file := a.Executable()
	got, err := sumOf(file)
	switch {
	case err != nil:
		p.add(key, "%v", err)
	case !slices.Equal(got, want):
		p.add(key, "is not the checksum of %s, which is %x", file, got)
	}
}

func sumOf(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the user names the program
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkEnv(p *problems, key string, env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		at := join(key, name)
		switch {
		case !variableName.MatchString(name):
			p.add(at, "%q is no name for an environment variable: letters, digits and _, the first of them no digit", name)
		case strings.HasPrefix(name, "ICRELAY_"), strings.HasPrefix(name, "PLUGIN_"):
			p.add(at, "the relay itself sets the variables that begin with ICRELAY_ and PLUGIN_")
		case strings.Contains(env[name], "\x00"):
			p.add(at, "has a zero byte in it, which no variable can have")
		}
	}
}

// validateUse finds adapters that no route uses. A route that names none of
// the known ones has a problem already, and is likely meant to use one.
func (k known) validateUse(p *problems, routes []Route) {
	used := make(map[string]bool)
	for i, r := range routes {
		if !p.read(index("route", i)+".adapter") || !k.has(r.Adapter) {
			return
		}
		used[r.Adapter] = true
	}
	for i, name := range k.own {
		if name != "" && !used[name] {
			p.add(index("adapter", i), "no route uses it: set adapter = %q in a [[route]], or remove it", name)
		}
	}
}

// has reports whether a route can have the adapter.
func (k known) has(name string) bool {
	return slices.Contains(adapters, name) || slices.Contains(k.own, name)
}
