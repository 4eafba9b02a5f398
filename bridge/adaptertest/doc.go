// Package adaptertest states what bridge.Adapter promises as tests. Every
// adapter runs the whole suite over real canisters; there is no way to leave
// a part of it out. It runs under go test, and outside of it as a [Trial].
package adaptertest
