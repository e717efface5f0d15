// Package match translates the patterns of rules into the expressions that Envoy evaluates.
//
// Users write RE2 over characters; Envoy 1.40 runs RE2 over bytes (Latin-1), refuses code points in escapes and matches
// whole values. Here are the translation of a pattern, the normal form of a base path and the matcher of a list of rules.
// It builds no routes and knows nothing of chains, and policies may import it.
package match
