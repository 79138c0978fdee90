"""Tables, images and logs from outside, checked at the border."""
