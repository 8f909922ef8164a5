"""The embedded model, mixnet-pocket: how its pictures are drawn, how it is trained and packed."""
