package xds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"

	"github.com/flexgw/flexgw/reconcile/gate"
	"github.com/flexgw/flexgw/reconcile/peercred"
)

// CheckPeer returns the process id of the peer of a Unix connection. It is an error when the peer is neither of our user
// nor root, or when c is not a Unix socket: what we serve holds private keys.
func CheckPeer(c net.Conn) (pid int, err error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("peer %s is not on a Unix socket", c.RemoteAddr())
	}
	pid, uid, err := peercred.Of(u)
	if err != nil {
		return 0, err
	}
	return pid, allowed(uid, os.Geteuid())
}

func allowed(uid, ours int) error {
	if uid == ours || uid == 0 {
		return nil
	}
	return fmt.Errorf("peer is user %d, expected %d or root", uid, ours)
}

// peerCredentials are gRPC credentials that let in whom CheckPeer lets in, without changing a byte on the wire.
type peerCredentials struct{}

type peerInfo struct {
	credentials.CommonAuthInfo
	pid int
}

func (peerInfo) AuthType() string { return "peercred" }

func (peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	pid, err := CheckPeer(c)
	if err != nil {
		return nil, nil, err
	}
	level := credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	return c, peerInfo{CommonAuthInfo: level, pid: pid}, nil
}

func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("peer credentials are for servers")
}

func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

func (peerCredentials) Clone() credentials.TransportCredentials { return peerCredentials{} }

func (peerCredentials) OverrideServerName(string) error { return nil }

// peerOf is who the handshake found.
func peerOf(ctx context.Context) peer {
	if g, ok := gate.From(ctx); ok {
		return peer{Address: g.Address, Identity: g.Identity}
	}
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return peer{}
	}
	info, _ := p.AuthInfo.(peerInfo)
	return peer{PID: info.pid}
}
