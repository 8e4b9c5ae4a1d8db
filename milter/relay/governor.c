/* governor */
#include "relaypool.h"
