"""ImageXpress and MetaXpress: HTD, MetaSeries, names. No other format is known here."""
