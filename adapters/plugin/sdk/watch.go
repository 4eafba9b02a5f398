package sdk

import (
	"context"

	"google.golang.org/grpc"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// watch runs an adapter's Watch and sends what it reports. One event can wait:
// more would not say more, and a relay that does not read must not block the
// adapter. The adapter's part runs here, so that a panic in it is caught.
func watch(stream grpc.ServerStreamingServer[contract.WatchEvent], run func(context.Context, func()) error) error {
	ctx, cancel := context.WithCancel(stream.Context())
	wake, sent := make(chan struct{}, 1), make(chan struct{})
	defer func() {
		cancel()
		<-sent
	}()
	go func() {
		defer close(sent)
		for {
			select {
			case <-ctx.Done():
				return
			case <-wake:
				if stream.Send(&contract.WatchEvent{}) != nil {
					cancel()
					return
				}
			}
		}
	}()
	err := run(ctx, func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return notReached(err)
	}
	return nil
}
