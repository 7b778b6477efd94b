-- wrk: each request brings a body, as long as the one that it is answered with.
wrk.method = "POST"
wrk.path = "/body"
wrk.body = string.rep("sluice. ", 8192)
