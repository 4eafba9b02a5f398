// Package execution runs canisters and their messages.
package execution
