// Package peercred says which process is at the other end of a Unix socket.
//
// It decides nothing by it. Only Linux is asked; elsewhere every answer is an error, so that nobody is let in.
package peercred
