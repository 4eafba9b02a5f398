//go:build !race

package soak

// messages of clients that arrive, unless SOAK_MESSAGES says otherwise.
const messages = 20_000
