//go:build race

package soak

// messages of clients that arrive, unless SOAK_MESSAGES says otherwise: the
// race detector makes everything several times as slow.
const messages = 2_000
