package api

// Page is a piece of a list. Next, when there is more, is what to ask for as ?after=.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// Listing are the parameters of a list that comes in pages.
type Listing struct {
	After string `query:"after" doc:"the next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

// collect fills a page with what the caller may see. fetch gives up to n rows after a key, key names a row.
func collect[T any](after string, limit int, fetch func(after string, n int) ([]T, error), visible func(T) (bool, error), key func(T) string) (Page[T], error) {
	page := Page[T]{Items: []T{}}
	for {
		rows, err := fetch(after, limit+1)
		if err != nil {
			return Page[T]{}, err
		}
		for _, row := range rows {
			switch ok, err := visible(row); {
			case err != nil:
				return Page[T]{}, err
			case !ok:
			case len(page.Items) == limit:
				page.Next = key(page.Items[limit-1])
				return page, nil
			default:
				page.Items = append(page.Items, row)
			}
			after = key(row)
		}
		if len(rows) <= limit {
			return page, nil
		}
	}
}

// filled is the list, never null.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
