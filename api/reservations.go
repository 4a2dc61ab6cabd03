package api

import (
	"context"
	"net/http"
	"path"
	"slices"

	"github.com/lineshaft/lineshaft/calendar"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/job"
	"github.com/lineshaft/lineshaft/trust/access"
)

// Calendar keeps reservations; *calendar.Calendar does.
type Calendar interface {
	List() []calendar.Reservation
	Get(name string) (calendar.Reservation, error)
	Add(ctx context.Context, actor, owner string, q calendar.Request, dry bool) (calendar.Reservation, error)
	Delete(ctx context.Context, actor, name string) error
}

// Reserved is a reservation with what is in its way.
type Reserved struct {
	calendar.Reservation
	// InTheWay are jobs of others that run there, may not be stopped and have no timeout that ends before it begins.
	InTheWay []string `json:"in_the_way,omitempty"`
}

type reservationPath struct {
	Name string `path:"name"`
	Change
}

func (s *server) reservationRoutes() {
	get(s, "/reservations", "The reservations that are not over, by their begin", s.listReservations)
	send(s, route{method: http.MethodPost, path: "/reservations", summary: "Reserve nodes or accelerators for a time"}, s.addReservation)
	send(s, route{method: http.MethodDelete, path: "/reservations/{name}", summary: "Give reserved room back"}, s.deleteReservation)
}

func reservationResource(r calendar.Reservation) access.Resource {
	return access.Resource{Type: "reservation", Name: r.Name, Owner: r.Owner}
}

func (s *server) listReservations(ctx context.Context, _ *none) (Page[calendar.Reservation], error) {
	page := Page[calendar.Reservation]{Items: []calendar.Reservation{}}
	if err := s.allow(ctx, "list", access.Resource{Type: "reservation"}); err != nil {
		return page, err
	}
	for _, r := range s.o.Calendar.List() {
		ok, err := s.visible(ctx, reservationResource(r))
		if err != nil {
			return page, err
		}
		if ok {
			page.Items = append(page.Items, r)
		}
	}
	return page, nil
}

func (s *server) addReservation(ctx context.Context, in *Change, q calendar.Request) (Reserved, error) {
	who := callOf(ctx).who
	if err := s.allow(ctx, "create", access.Resource{Type: "reservation", Name: q.Name, Owner: who.Name}); errs.Is(err, errs.NotFound) {
		return Reserved{}, errs.Errorf("api.addReservation", errs.Exists, "the name %q is taken: choose another name", q.Name)
	} else if err != nil {
		return Reserved{}, err
	}
	r, err := s.o.Calendar.Add(ctx, who.Actor(), who.Name, q, in.DryRun)
	if err != nil {
		return Reserved{}, err
	}
	out := Reserved{Reservation: r}
	plan, err := s.o.Jobs.Plan(ctx)
	if err != nil {
		return out, nil // it is made; what is in its way, `lineshaft queue` shows too
	}
	for _, run := range plan.Running {
		if inTheWay(r, run) {
			out.InTheWay = append(out.InTheWay, "job/"+run.Job.String())
		}
	}
	return out, nil
}

// inTheWay reports whether the job may still hold some of the room when the reservation begins.
func inTheWay(r calendar.Reservation, run job.PlannedRun) bool {
	own := (r.User == "" || r.User == run.Owner) && (r.Queue == "" || r.Queue == path.Base(run.Queue))
	if own || run.Preemptible || run.Ends != nil && !run.Ends.After(r.From) {
		return false
	}
	return slices.ContainsFunc(run.Placements, func(p job.PlannedPlace) bool {
		return slices.ContainsFunc(r.Room, func(room calendar.Room) bool {
			some := len(room.Accelerators) == 0 || slices.ContainsFunc(room.Accelerators, func(id string) bool { return slices.Contains(p.Accelerators, id) })
			return room.Node == p.Node && some
		})
	})
}

func (s *server) deleteReservation(ctx context.Context, in *reservationPath, _ none) (none, error) {
	r, err := s.o.Calendar.Get(in.Name)
	if err == nil {
		err = s.allow(ctx, "delete", reservationResource(r))
	}
	if err != nil || in.DryRun {
		return none{}, hidden(err, access.Resource{Type: "reservation", Name: in.Name})
	}
	return none{}, s.o.Calendar.Delete(ctx, callOf(ctx).who.Actor(), in.Name)
}
