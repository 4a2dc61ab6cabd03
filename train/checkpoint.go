package train

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"math"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/nn"
)

// A checkpoint is the magic, a length and a JSON head, then every parameter and every slot of the optimiser as
// little-endian float32 in the order of the network, then the CRC-32C of all before it. The head says how many numbers
// follow, and a reader takes them only into a network that needs just as many.
const magic = "LSCKPT1\n"

// maxHead bounds the head.
const maxHead = 1 << 20

type checkpointHead struct {
	Epochs     int   `json:"epochs"` // done
	Iterations int64 `json:"iterations"`
	Floats     int   `json:"floats"`
	Last       Epoch `json:"last"`
}

// arrays lists what is saved, in order.
func arrays(net *nn.Network, opt *nn.Optimizer) (all [][]float32, n int) {
	for _, p := range net.Params() {
		all = append(all, p.Value)
	}
	for _, slots := range opt.Slots {
		all = append(all, slots...)
	}
	for _, a := range all {
		n += len(a)
	}
	return all, n
}

func writeCheckpoint(w io.Writer, done int, net *nn.Network, opt *nn.Optimizer, last Epoch) error {
	const op = "train.writeCheckpoint"
	all, n := arrays(net, opt)
	head, err := json.Marshal(checkpointHead{Epochs: done, Iterations: opt.Iterations, Floats: n, Last: last})
	if err != nil {
		return errs.E(op, errs.Other, err)
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	out.WriteString(magic)                                              //nolint:errcheck // Flush tells
	out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(head)))) //nolint:errcheck // Flush tells
	out.Write(head)                                                     //nolint:errcheck // Flush tells
	for _, a := range all {
		var b [4]byte
		for _, v := range a {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
			out.Write(b[:]) //nolint:errcheck // Flush tells
		}
	}
	if err := out.Flush(); err != nil {
		return errs.E(op, errs.Other, err)
	}
	_, err = w.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32()))
	return errs.E(op, errs.Other, err)
}

// readCheckpoint fills the network and the optimiser; they are changed only when the whole checkpoint is sound.
func readCheckpoint(r io.Reader, net *nn.Network, opt *nn.Optimizer, last *Epoch) (done int, err error) {
	const op = "train.readCheckpoint"
	bad := func(format string, args ...any) (int, error) {
		return 0, errs.Errorf(op, errs.Corrupt, "the checkpoint cannot be used: "+format, args...)
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	in := bufio.NewReaderSize(r, 1<<16)
	tee := io.TeeReader(in, sum)
	begin := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(tee, begin); err != nil || string(begin[:len(magic)]) != magic {
		return bad("it does not begin as one")
	}
	n := binary.LittleEndian.Uint32(begin[len(magic):])
	if n > maxHead {
		return bad("its head is %d bytes long", n)
	}
	text := make([]byte, n)
	var head checkpointHead
	if _, err := io.ReadFull(tee, text); err != nil {
		return bad("its head is cut off")
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return bad("its head does not parse: %v", err)
	}
	all, want := arrays(net, opt)
	if head.Floats != want || head.Epochs < 0 || head.Iterations < 0 {
		return bad("it holds %d numbers and the network needs %d: it is of another network", head.Floats, want)
	}
	values := make([]byte, 4*want)
	if _, err := io.ReadFull(tee, values); err != nil {
		return bad("its numbers are cut off")
	}
	var crc [4]byte
	if _, err := io.ReadFull(in, crc[:]); err != nil || binary.LittleEndian.Uint32(crc[:]) != sum.Sum32() {
		return bad("its check sum does not fit")
	}
	for _, a := range all {
		for i := range a {
			a[i] = math.Float32frombits(binary.LittleEndian.Uint32(values))
			values = values[4:]
		}
	}
	opt.Iterations, *last = head.Iterations, head.Last
	return head.Epochs, nil
}
