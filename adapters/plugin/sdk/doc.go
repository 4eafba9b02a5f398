// Package sdk is all that an adapter in Go needs: an adapter is one type, and
// one call of Serve in main. The relay starts the program, as the table
// [[adapter]] of its configuration says, and calls the adapter's methods for
// the routes that name it.
//
// A route is built on one of the relay's own adapters, the base: "cdk" or
// "relay". What the type has no method for is done by the base, inside the
// relay. So an adapter that changes one thing has one method, and passes on to
// the base what it does not change:
//
//	type gate struct{ base *sdk.Base }
//
//	func (g *gate) Open(ctx context.Context, env sdk.Envelope) error {
//		if env.Client.Principal.IsAnonymous() {
//			return sdk.Refused("please sign in")
//		}
//		return g.base.Open(ctx, env)
//	}
//
//	func main() {
//		sdk.Serve(func(_ context.Context, route *sdk.Route) (any, error) {
//			return &gate{route.Base}, nil
//		})
//	}
//
// The interfaces Opener, Messenger, Closer, Poller, Checker, Watcher, Windower
// and Ender say what methods there are and what each promises. All of them can
// be called at the same time, and return soon after their context has ended.
//
// An error is one of three things. Refused is final, and its text reaches the
// client. Unavailable says why it does not work at the moment. Any other error,
// and a panic, means "not reached": the relay tries again later, or lets the
// client do so.
//
// Route.Host calls canisters in the gateway's name. Route.Log, log/slog, log,
// and what is printed end up in the relay's log, with the adapter's name.
//
// Package sdktest runs the relay's own tests over an adapter.
package sdk
