package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// lagging stands before an etcd member and passes everything on but the events
// of watches: those come late.
func (c *cluster) lagging(t testing.TB, m *member, late time.Duration) (address string) {
	t.Helper()
	dir := filepath.Join(c.folder, m.name)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "crt"), filepath.Join(dir, "key"))
	must(t, err)
	upstream, err := grpc.NewClient(m.clients, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: c.authority.pool})),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(asIs{})))
	must(t, err)
	t.Cleanup(func() { _ = upstream.Close() })
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)), grpc.ForceServerCodecV2(asIs{}),
		grpc.UnknownServiceHandler(func(_ any, from grpc.ServerStream) error { return relay(from, upstream, late) }))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// relay joins a call with the same call upstream.
func relay(from grpc.ServerStream, upstream *grpc.ClientConn, late time.Duration) error {
	method, _ := grpc.MethodFromServerStream(from)
	ctx, cancel := context.WithCancel(from.Context())
	defer cancel()
	if told, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, told.Copy())
	}
	to, err := upstream.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	go func() {
		for {
			var message mem.BufferSlice
			if err := from.RecvMsg(&message); err != nil {
				_ = to.CloseSend()
				return
			}
			if to.SendMsg(&message) != nil {
				return
			}
		}
	}()
	if !strings.HasSuffix(method, "Watch/Watch") {
		late = 0
	}
	return hand(ctx, from, to, late)
}

// hand passes on what upstream says, each piece so much later.
func hand(ctx context.Context, from grpc.ServerStream, to grpc.ClientStream, late time.Duration) error {
	type piece struct {
		message mem.BufferSlice
		due     time.Time
		err     error
	}
	pieces := make(chan piece, 1<<12)
	go func() {
		for {
			p := piece{due: time.Now().Add(late)}
			p.err = to.RecvMsg(&p.message)
			pieces <- p
			if p.err != nil {
				return
			}
		}
	}()
	for {
		p := <-pieces
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-time.After(time.Until(p.due)): // the delay is the fault
		}
		switch {
		case errors.Is(p.err, io.EOF):
			return nil
		case p.err != nil:
			return p.err
		}
		if err := from.SendMsg(&p.message); err != nil {
			return status.Error(codes.Canceled, err.Error())
		}
	}
}

// asIs is a codec that leaves messages as they are.
type asIs struct{}

func (asIs) Marshal(v any) (mem.BufferSlice, error) {
	message := *v.(*mem.BufferSlice)
	message.Ref()
	return message, nil
}

func (asIs) Unmarshal(data mem.BufferSlice, v any) error {
	data.Ref()
	*v.(*mem.BufferSlice) = data
	return nil
}

func (asIs) Name() string { return "proto" }

var _ encoding.CodecV2 = asIs{}
