package contract_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/icrelay/icrelay/adapters/plugin/contract"
)

// All generated code has to say the same as adapter.proto; `make proto` makes it.
const regenerate = "adapter.proto has changed since: run `make proto`"

const python = "../../../examples/plugins/gate/adapter_pb2"

func compile(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(t.Context(), "adapter.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// plain is a file without what some compilers write and others do not.
func plain(file *descriptorpb.FileDescriptorProto) *descriptorpb.FileDescriptorProto {
	file.SourceCodeInfo = nil
	var names func([]*descriptorpb.DescriptorProto)
	names = func(messages []*descriptorpb.DescriptorProto) {
		for _, message := range messages {
			for _, field := range message.Field {
				field.JsonName = nil
			}
			names(message.NestedType)
		}
	}
	names(file.MessageType)
	return file
}

func TestGeneratedGo(t *testing.T) {
	file := compile(t)
	want, got := plain(protodesc.ToFileDescriptorProto(file)), plain(protodesc.ToFileDescriptorProto(contract.File_adapter_proto))
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("adapter.pb.go: %s:\n%s", regenerate, diff)
	}
	generated := map[string]grpc.ServiceDesc{
		"Plugin": contract.Plugin_ServiceDesc, "Adapter": contract.Adapter_ServiceDesc, "Host": contract.Host_ServiceDesc,
	}
	if n := file.Services().Len(); n != len(generated) {
		t.Fatalf("%d services", n)
	}
	for name, desc := range generated {
		service := file.Services().ByName(protoreflect.Name(name))
		var want, got []string
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			want = append(want, fmt.Sprint(service.FullName(), m.Name(), m.IsStreamingServer()))
		}
		for _, m := range desc.Methods {
			got = append(got, fmt.Sprint(desc.ServiceName, m.MethodName, false))
		}
		for _, m := range desc.Streams {
			got = append(got, fmt.Sprint(desc.ServiceName, m.StreamName, m.ServerStreams))
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("adapter_grpc.pb.go: %s:\n%s", regenerate, diff)
		}
	}
}

// The comments are the contract, too: people read them in the Go code.
func TestGeneratedComments(t *testing.T) {
	var code string
	for _, name := range []string{"adapter.pb.go", "adapter_grpc.pb.go"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code += string(raw)
	}
	locations := compile(t).SourceLocations()
	for i := range locations.Len() {
		for line := range strings.Lines(locations.Get(i).LeadingComments) {
			if line = strings.TrimSpace(line); !strings.Contains(code, line) {
				t.Errorf("%q is not in the Go code: %s", line, regenerate)
			}
		}
	}
	if !strings.Contains(code, "The same envelope given twice opens") {
		t.Error("the test finds no comments")
	}
}

// The Python code of an example has the descriptor, as a literal.
func TestGeneratedPython(t *testing.T) {
	raw, err := os.ReadFile(filepath.FromSlash(python + ".py"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(raw), "AddSerializedFile(b'")
	literal, _, closed := strings.Cut(rest, "')\n")
	if !found || !closed {
		t.Fatal("no descriptor in the file")
	}
	descriptor, err := unescape(literal)
	if err != nil {
		t.Fatal(err)
	}
	got := &descriptorpb.FileDescriptorProto{}
	if err := proto.Unmarshal(descriptor, got); err != nil {
		t.Fatal(err)
	}
	file := compile(t)
	if diff := cmp.Diff(plain(protodesc.ToFileDescriptorProto(file)), plain(got), protocmp.Transform()); diff != "" {
		t.Errorf("%s.py: %s:\n%s", python, regenerate, diff)
	}

	stubs, err := os.ReadFile(filepath.FromSlash(python + "_grpc.py"))
	if err != nil {
		t.Fatal(err)
	}
	methods := 0
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		for j := range service.Methods().Len() {
			methods++
			path, stream := fmt.Sprintf("'/%s/%s',", service.FullName(), service.Methods().Get(j).Name()), "unary_unary"
			if service.Methods().Get(j).IsStreamingServer() {
				stream = "unary_stream"
			}
			before, _, ok := strings.Cut(string(stubs), path)
			if !ok || !strings.HasSuffix(strings.TrimSpace(before), "channel."+stream+"(") {
				t.Errorf("%s_grpc.py has no %s as %s: %s", python, path, stream, regenerate)
			}
		}
	}
	if methods < 14 {
		t.Errorf("%d methods", methods)
	}
}

// unescape reads what stands in a literal of bytes in Python.
func unescape(literal string) ([]byte, error) {
	var out []byte
	for i := 0; i < len(literal); i++ {
		if literal[i] != '\\' {
			out = append(out, literal[i])
			continue
		}
		if i++; i == len(literal) {
			return nil, fmt.Errorf("the literal ends in a backslash")
		}
		digits, base := "", 0
		switch c := literal[i]; {
		case c == 'x' && i+2 < len(literal):
			digits, base = literal[i+1:i+3], 16
			i += 2
		case '0' <= c && c <= '7' && i+2 < len(literal):
			digits, base = literal[i:i+3], 8
			i += 2
		case strings.IndexByte(`'"\`, c) >= 0:
			out = append(out, c)
			continue
		case strings.IndexByte("nrt", c) >= 0:
			out = append(out, "\n\r\t"[strings.IndexByte("nrt", c)])
			continue
		default:
			return nil, fmt.Errorf("unknown escape \\%c", c)
		}
		b, err := strconv.ParseUint(digits, base, 8)
		if err != nil {
			return nil, err
		}
		out = append(out, byte(b))
	}
	return out, nil
}
