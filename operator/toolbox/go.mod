module runabout.dev/toolbox

go 1.22
