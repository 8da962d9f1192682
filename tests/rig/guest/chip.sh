# `chip NAME LINE...`: a chip of gpio-sim with these lines, at the offsets 0, 1, 2 ...
chip() {
    local folder="/sys/kernel/config/gpio-sim/$1" number=0 name
    shift
    mkdir "$folder" "$folder/bank0"
    echo 8 > "$folder/bank0/num_lines"
    for name in "$@"; do
        mkdir "$folder/bank0/line$number"
        echo "$name" > "$folder/bank0/line$number/name"
        number=$((number + 1))
    done
    echo 1 > "$folder/live"
}
