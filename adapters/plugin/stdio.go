package plugin

import (
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// drainStdio reads what programs print that use go-plugin's own Serve: it takes
// standard output and error away from them, and blocks them when nobody asks
// for it. Other programs do not have that service, and the stream ends at once.
func (i *incarnation) drainStdio() {
	stream, err := i.conn.NewStream(i.ctx, &grpc.StreamDesc{ServerStreams: true}, "/plugin.GRPCStdio/StreamStdio")
	if err != nil || stream.SendMsg(new(emptypb.Empty)) != nil || stream.CloseSend() != nil {
		return
	}
	out, in := io.Pipe()
	defer func() { _ = in.Close() }()
	i.tasks.Go(func() {
		defer func() { _ = out.Close() }() // nobody reads any more: what is written there must not wait
		readLines(out, i.process.lines.line, i.ctx.Done())
	})
	for {
		// StdioData { Channel channel = 1; bytes data = 2 } is internal to go-plugin: here all of it is unknown fields.
		var message emptypb.Empty
		if stream.RecvMsg(&message) != nil {
			return
		}
		for fields := []byte(message.ProtoReflect().GetUnknown()); len(fields) > 0; {
			number, kind, n := protowire.ConsumeTag(fields)
			if n < 0 {
				return
			}
			value := protowire.ConsumeFieldValue(number, kind, fields[n:])
			if value < 0 {
				return
			}
			if data, size := protowire.ConsumeBytes(fields[n:]); number == 2 && kind == protowire.BytesType && size > 0 {
				if _, err := in.Write(data); err != nil {
					return
				}
			}
			fields = fields[n+value:]
		}
	}
}
