// Checks a dashboard against Grafana's own types: dashboard-schema FILE. A field that Grafana does not know, a value of another type or out of
// its range is an error, also in the options of panels and in queries.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	plugins.RegisterDefaultPlugins()
	var board dashboard.Dashboard
	return errors.Join(found(board.UnmarshalJSONStrict(text)), found(board.Validate()))
}

// A list of errors without any is none.
func found(err error) error {
	if list, is := err.(cog.BuildErrors); is && len(list) == 0 {
		return nil
	}
	return err
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dashboard-schema FILE")
		os.Exit(2)
	}
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
