module errand

go 1.24
