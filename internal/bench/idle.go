package bench

import "context"

// idle keeps the connections open and sends nothing.
func (r *run) idle(ctx context.Context) { <-ctx.Done() }
