// Kinesis on one port of 127.0.0.1: kinesalite's own program listens on all interfaces.
// node kinesalite.js FOLDER_OF_NODE_MODULES PORT
const [folder, port] = process.argv.slice(2)
const kinesalite = require(`${folder}/node_modules/kinesalite`)
const quick = { createStreamMs: 20, deleteStreamMs: 20, updateStreamMs: 50, shardLimit: 100 }
kinesalite(quick).listen(Number(port), '127.0.0.1')
