package sdk

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// Bounds of what crosses to the relay and back.
const (
	maxMessage = 4 << 20   // of one gRPC message, in both directions
	maxBatch   = 8 << 20   // of a whole batch
	maxCount   = 10_000    // messages of a batch
	partSize   = 256 << 10 // a good size of a part
	perMessage = 64        // what a message needs beside its content and key
)

// sendBatch sends a batch in parts. The contents are not copied here.
func sendBatch(batch Batch, send func(*contract.PollPart) error) error {
	part := &contract.PollPart{Certificate: batch.Certificate, Witness: batch.Witness, More: batch.More}
	size := len(batch.Certificate) + len(batch.Witness)
	total := size
	if size+perMessage > maxMessage {
		return status.Errorf(codes.Unknown, "certificate and witness have %d bytes, more than the %d that the relay takes", size, maxMessage)
	}
	sizes := make([]int, len(batch.Messages))
	for i := range batch.Messages {
		m := &batch.Messages[i]
		sizes[i] = len(m.Content) + len(m.Key) + perMessage
		total += sizes[i]
		if sizes[i] > maxMessage-perMessage {
			return status.Errorf(codes.Unknown, "message %s has %d bytes, more than the %d that the relay takes", m.Key, len(m.Content), maxMessage)
		}
	}
	if total > maxBatch || len(batch.Messages) > maxCount {
		return status.Errorf(codes.Unknown, "a batch of %d messages and %d bytes is more than the %d and %d that the relay takes: return fewer messages, and More",
			len(batch.Messages), total, maxCount, maxBatch)
	}
	messages := make([]contract.OutputMessage, len(batch.Messages))
	clients := make([]contract.ClientKey, len(batch.Messages))
	pointers := make([]*contract.OutputMessage, len(batch.Messages))
	first := 0
	for i := range batch.Messages {
		m := &batch.Messages[i]
		clients[i].Principal, clients[i].Nonce = m.Client.Principal.Bytes(), m.Client.Nonce
		messages[i].Client, messages[i].Key, messages[i].Content = &clients[i], m.Key, m.Content
		pointers[i] = &messages[i]
		if size > 0 && size+sizes[i] > partSize && (i > first || size > partSize) {
			part.Messages = pointers[first:i]
			if err := send(part); err != nil {
				return err
			}
			part, size, first = &contract.PollPart{}, 0, i
		}
		size += sizes[i]
	}
	if part.Messages = pointers[first:]; len(part.Messages) > 0 || part.More {
		return send(part)
	}
	return nil
}

// receiveBatch puts the parts together again.
func receiveBatch(receive func() (*contract.PollPart, error)) (Batch, error) {
	const what = "Base.Poll"
	var batch Batch
	size := 0
	for {
		part, err := receive()
		if errors.Is(err, io.EOF) {
			return batch, nil
		}
		if err != nil {
			return Batch{}, failed(what, err)
		}
		if part.Outcome != nil {
			if err := errorOf(what, part.Outcome); err != nil {
				return Batch{}, err
			}
		}
		if len(part.Certificate) > 0 {
			batch.Certificate = part.Certificate
		}
		if len(part.Witness) > 0 {
			batch.Witness = part.Witness
		}
		batch.More = batch.More || part.More
		if batch.Messages == nil && len(part.Messages) > 0 {
			batch.Messages = make([]OutputMessage, 0, len(part.Messages))
		}
		size += len(part.Certificate) + len(part.Witness)
		for _, m := range part.Messages {
			client, err := clientKey(m.GetClient())
			if err != nil {
				return Batch{}, fmt.Errorf("%s: %w", what, err)
			}
			size += len(m.GetContent()) + len(m.GetKey()) + perMessage
			batch.Messages = append(batch.Messages, OutputMessage{Client: client, Key: m.GetKey(), Content: m.GetContent()})
		}
		if size > maxBatch {
			return Batch{}, fmt.Errorf("%s: the batch has more than %d bytes", what, maxBatch)
		}
	}
}
