// A shortener on Go's net/http: one map; nothing is counted.
package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
)

func main() {
	runtime.GOMAXPROCS(1)
	count, _ := strconv.Atoi(os.Args[2])
	links := make(map[string]string, count)
	for n := 0; n < count; n++ {
		links[fmt.Sprintf("/b%d", n)] = fmt.Sprintf("https://example.com/page/%d", n)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target, found := links[r.URL.Path]
		if !found {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Location", target)
		w.Header().Set("Cache-Control", "private, no-store")
		w.WriteHeader(http.StatusFound)
	})
	http.ListenAndServe("127.0.0.1:"+os.Args[1], handler)
}
