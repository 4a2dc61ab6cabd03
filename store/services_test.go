package store_test

import (
	"testing"

	"github.com/lineshaft/lineshaft/internal/event"
	"github.com/lineshaft/lineshaft/serve"
)

func TestWhatIsInServiceIsKeptWithItsEvents(t *testing.T) {
	s := fresh(t)
	live, cancel := s.Subscribe([]string{"services"})
	defer cancel()
	first := serve.Record{Model: "mnist", Version: 1, Actor: "user/ann", Created: start, Updated: start}
	second := first
	second.Version, second.Added = 2, []int64{3, 4}
	for _, r := range []serve.Record{first, {Model: "a", Version: 7}, second} {
		if err := s.PutService(t.Context(), r, event.New("services", "service.deployed", "service/"+r.Model, "user/ann", r)); err != nil {
			t.Fatal(err)
		}
		if e := <-live; e.Subject != "service/"+r.Model || e.Seq == 0 {
			t.Errorf("event %+v", e)
		}
	}
	list, err := s.Services(t.Context())
	if err != nil || len(list) != 2 || list[0].Model != "a" || list[1].Version != 2 || len(list[1].Added) != 2 || !list[1].Created.Equal(start) {
		t.Errorf("%+v, %v", list, err)
	}
	if err := s.DeleteService(t.Context(), "mnist", event.New("services", "service.undeployed", "service/mnist", "user/ann", nil)); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Services(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
