// Package config reads config.toml: defaults, then strict decoding, then
// every check that needs no network. All problems are reported at once, each
// with its key and line.
package config
