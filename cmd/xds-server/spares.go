package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/resource"
)

const sparesHelp = `A filter that is added or moved is put into a spare slot of its listener, one
that does nothing until then; so it holds on every open connection at once, and
closes none. --spare-slots says how many there are: N (2 by default) before the
first filter of each chain and N after the last; with N,M also M between any two.
Each costs a request about a microsecond. Where no spare fits, the listener is
replaced, and connections that were opened before go without the filter until
Envoy has drained them: "status --wait=drained" waits for that, and "bootstrap
--help" says what bounds it. A listener that is replaced has all its spares again;
with --respare it is replaced for that, where some are used up and nothing has
changed for so long. Envoy drains its connections then.`

// defaultSpares are those of every command that is not told otherwise.
func defaultSpares() resource.Spares { return resource.Spares{Around: 2} }

// spareFlags say how many empty slots listeners have.
type spareFlags struct{ text string }

func (s *spareFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.text, "spare-slots", defaultSpares().String(),
		"`number` N of empty slots before the first and after the last filter of each chain, or N,M: also M between any two; 0: none")
	completeValues(cmd, "spare-slots", defaultSpares().String(), "2,1", "0")
}

func (s *spareFlags) spares() (resource.Spares, error) {
	spares, err := resource.ParseSpares(s.text)
	if err != nil {
		return spares, fmt.Errorf("--spare-slots %w", err)
	}
	return spares, nil
}

// checkRespare bounds how often listeners may be replaced for their spares alone.
func checkRespare(d time.Duration) error {
	if d != 0 && d < time.Minute {
		return fmt.Errorf("--respare %v: 0, or at least 1m", d)
	}
	return nil
}
