package fleet_test

import (
	"math"
	"strings"
	"testing"

	"github.com/lineshaft/lineshaft/fleet"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/units"
)

func TestASiteThatIsNotInOrderIsRefusedByItsKey(t *testing.T) {
	caps := []fleet.PowerCap{{Name: "hall", Watts: 1000}}
	for says, s := range map[string]fleet.Site{
		`racks[0] (): name`:                                {Racks: []fleet.Rack{{}}},
		`racks[1] (r): name: racks[0] is named so too`:     {Racks: []fleet.Rack{{Name: "r"}, {Name: "r"}}},
		`racks[0] (r): uplink`:                             {Racks: []fleet.Rack{{Name: "r", Uplink: -1}}},
		`caps[0] (c): watts: 0`:                            {Caps: []fleet.PowerCap{{Name: "c"}}},
		`caps[0] (c): watts: NaN`:                          {Caps: []fleet.PowerCap{{Name: "c", Watts: units.Watts(math.NaN())}}},
		`caps[1] (c): parent: there is no cap "hal"`:       {Caps: append(caps, fleet.PowerCap{Name: "c", Parent: "hal", Watts: 1})},
		`above itself (a under b under a)`:                 {Caps: []fleet.PowerCap{{Name: "a", Parent: "b", Watts: 1}, {Name: "b", Parent: "a", Watts: 1}}},
		`above itself (c under c)`:                         {Caps: []fleet.PowerCap{{Name: "c", Parent: "c", Watts: 1}}},
		`nodes[0] (n): rack: there is no rack "r"`:         {Nodes: []fleet.NodeFacts{{Name: "n", Rack: "r"}}},
		`nodes[0] (n): feed: there is no cap "f"`:          {Caps: caps, Nodes: []fleet.NodeFacts{{Name: "n", Feed: "f"}}},
		`max-watts: 100 W is less than the idle draw`:      {Nodes: []fleet.NodeFacts{{Name: "n", IdleWatts: 200, MaxWatts: 100}}},
		`nodes[1] (n): name: nodes[0] is named so too`:     {Nodes: []fleet.NodeFacts{{Name: "n"}, {Name: "n"}}},
		`accelerators[0].kind: there is no kind "fpga"`:    {Nodes: []fleet.NodeFacts{{Name: "n", Accelerators: []fleet.DeviceFacts{{Kind: "fpga"}}}}},
		`accelerators[1].ids: device "0" is named twice`:   {Nodes: []fleet.NodeFacts{{Name: "n", Accelerators: []fleet.DeviceFacts{{IDs: []string{"0"}}, {IDs: []string{"0"}}}}}},
		`accelerators[0].ids: name the devices`:            {Nodes: []fleet.NodeFacts{{Name: "n", Accelerators: []fleet.DeviceFacts{{Watts: 1}, {Watts: 2}}}}},
		`accelerators[0].watts: -1: give a positive power`: {Nodes: []fleet.NodeFacts{{Name: "n", Accelerators: []fleet.DeviceFacts{{Watts: -1}}}}},
	} {
		if err := s.Validate(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestANodeIsWhatItReportsWithWhatTheSiteKnows(t *testing.T) {
	f := open(t, &memory{})
	site := fleet.Site{
		Racks: []fleet.Rack{{Name: "r1"}}, Caps: []fleet.PowerCap{{Name: "feed", Watts: 5000}},
		Nodes: []fleet.NodeFacts{{
			Name: "n1", Rack: "r1", Feed: "feed", IdleWatts: 200, MaxWatts: 3000, Bandwidth: 25e9, Storage: units.TiB,
			Accelerators: []fleet.DeviceFacts{{IDs: []string{"0", "1"}, Domain: "left", Watts: 700}, {IDs: []string{"2"}, Kind: "npu"}},
		}},
	}
	if err := f.Describe(site); err != nil {
		t.Fatal(err)
	}
	own := []fleet.Accelerator{{ID: "0"}, {ID: "1", Watts: 300}, {ID: "2"}}
	if err := f.Report(fleet.Node{Name: "n1", CPU: 8, Memory: units.GiB, Storage: units.GiB, Accelerators: own}); err != nil {
		t.Fatal(err)
	}
	n := f.Nodes()[0] // n1 anew
	if n.Rack != "r1" || n.Feed != "feed" || n.IdleWatts != 200 || n.MaxWatts != 3000 || n.Bandwidth != 25e9 || n.Storage != units.GiB {
		t.Errorf("%+v", n)
	}
	if a := n.Accelerators; a[0].Domain != "left" || a[0].Watts != 700 || a[1].Watts != 300 || a[2].Kind != "npu" || a[2].Watts != 0 {
		t.Errorf("%+v", a)
	}
	if own[0].Watts != 0 {
		t.Error("what was reported was written into")
	}
}
